//! The clocks that hours are told by: what the system knows of a place, for as long as a run may last.

use crate::error::Complaint;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster_core::definition::AreaDef;
use muster_core::hours::Zone;

/// How far clocks are known.
// Limit: a run that lasts longer goes by the last offset it knows.
const YEARS_AHEAD: i64 = 3;
const YEAR_SECS: i64 = 366 * 86_400;

/// Complains about a place that the system does not know.
///
/// # Errors
/// It does not.
pub(crate) fn check(area: &AreaDef) -> Result<(), anyhow::Error> {
    let Some(name) = &area.limits.timezone else { return Ok(()) };
    TimeZone::get(name).map(drop).map_err(|e| {
        Complaint::usage(format!("the system knows no time zone `{name}`"))
            .because(e)
            .hint("names are those of the IANA database: \"Europe/Berlin\", \"UTC\"")
            .into()
    })
}

/// The clocks of the place that an area names; without one, or where it is not known, those of this machine. Where
/// nothing goes by the hours, it is not asked for.
pub(crate) fn of(area: &AreaDef) -> Zone {
    if area.tests.iter().all(|test| test.needs.hours.is_empty()) {
        return Zone::default();
    }
    let named = area.limits.timezone.as_deref();
    let zone = named.and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(TimeZone::system);
    let name = named.or(zone.iana_name()).unwrap_or("local time").to_owned();
    let now = Timestamp::now();
    let mut offsets = vec![(now.as_second(), zone.to_offset(now).seconds())];
    let last = now.as_second() + YEARS_AHEAD * YEAR_SECS;
    let changes = zone.following(now).take_while(|change| change.timestamp().as_second() <= last);
    offsets.extend(changes.map(|change| (change.timestamp().as_second(), change.offset().seconds())));
    Zone { name, offsets }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::definition::{Items, Kind, TestDef};
    use muster_core::hours::Hours;
    use muster_core::time::Time;

    #[test]
    fn the_clocks_of_a_place_are_known_for_years_with_their_summers() {
        let mut test = TestDef::new("t", Kind::Steps { steps: Vec::new(), items: Items::None });
        test.needs.hours.push(Hours::parse(["Mon-Fri"]).unwrap());
        let mut area = AreaDef { tests: vec![test], ..AreaDef::default() };
        area.limits.timezone = Some("Europe/Berlin".to_owned());
        check(&area).unwrap();
        let zone = of(&area);
        assert_eq!(zone.name, "Europe/Berlin");
        assert!(zone.offsets.len() > 4, "{zone:?}");
        assert!(zone.offsets.iter().all(|(_, offset)| *offset == 3600 || *offset == 7200), "{zone:?}");
        // The clock shows what the library shows.
        for months in 0..36 {
            let at = zone.offsets[0].0 + months * 30 * 86_400;
            let shown = Timestamp::from_second(at).unwrap().to_zoned(TimeZone::get("Europe/Berlin").unwrap());
            let text = shown.strftime("%a %H:%M").to_string();
            assert_eq!(zone.clock(Time(u64::try_from(at).unwrap() * 1_000_000)), text);
        }
        area.limits.timezone = Some("Middle/Earth".to_owned());
        assert!(check(&area).is_err());
    }
}
