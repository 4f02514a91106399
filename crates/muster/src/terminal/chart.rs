//! Small charts of text: how long something took over time, and how sure a rate is.

use std::time::Duration;

/// Eight heights.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A line of bars, one a value, scaled from 0 to the greatest.
pub(crate) fn sparkline(values: &[Duration]) -> String {
    let most = values.iter().max().copied().unwrap_or_default().as_secs_f64();
    values
        .iter()
        .map(|v| {
            let part = if most > 0.0 { v.as_secs_f64() / most } else { 0.0 };
            // `part` is between 0 and 1.
            BARS[((part * 7.0).round() as usize).min(7)]
        })
        .collect()
}

/// The middle value; of an even number, the mean of the two in the middle. `None` of nothing.
pub(crate) fn median(values: &[Duration]) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2),
    }
}

/// The Wilson score interval (E. B. Wilson 1927) at 95 % for `hits` out of `tries`: where the true rate
/// lies, also for few tries and for rates at the edge, of which the usual ± is wrong. From 0 to 1.
pub(crate) fn wilson(hits: u32, tries: u32) -> (f64, f64) {
    if tries == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_963_984_540_054;
    let n = f64::from(tries);
    let p = f64::from(hits) / n;
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

/// A part of 1 in percent, with a decimal where it is small: `0.8 %`, `12 %`.
pub(crate) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent == 0.0 || percent >= 9.95 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
        let close = |(low, high): (f64, f64), want_low: f64, want_high: f64| {
            assert!((low - want_low).abs() < 5e-5 && (high - want_high).abs() < 5e-5, "{low} {high}");
        };
        close(wilson(81, 263), 0.2553, 0.3662);
        close(wilson(15, 148), 0.0624, 0.1605);
        close(wilson(0, 20), 0.0, 0.1611);
        close(wilson(1, 29), 0.0061, 0.1718);
        close(wilson(0, 0), 0.0, 1.0);
    }

    #[test]
    fn a_sparkline_has_a_bar_for_each_value() {
        let secs = |n| Duration::from_secs(n);
        assert_eq!(sparkline(&[secs(0), secs(5), secs(10)]), "▁▅█");
        assert_eq!(sparkline(&[secs(0)]), "▁");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let secs = |n| Duration::from_secs(n);
        assert_eq!(median(&[secs(9), secs(1), secs(2)]), Some(secs(2)));
        assert_eq!(median(&[secs(4), secs(1), secs(2), secs(9)]), Some(secs(3)));
        assert_eq!(median(&[]), None);
    }
}
