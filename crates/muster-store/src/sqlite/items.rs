//! A run's items as people are shown them: all, or those that a filter wants.
//!
//! What each came to is in its last row, so that all rows are looked over; of these only the verdict is read. The rest
//! is read of what is wanted.

use super::error::reading;
use super::read::{Reader, find_rid};
use super::rows::{self, decode_attempt};
use crate::error::StoreError;
use crate::layout::{Layout, Place};
use crate::parts::{Came, is_wanted, listed_item, view};
use crate::types::{ItemFilter, ListedItem};
use muster_core::id::{ItemIx, RunId};
use muster_core::view::{AttemptView, RunView};
use rusqlite::Row;
use std::collections::BTreeMap;

/// Of how many rows of a run one is wanted, so that looking each up is less than reading all.
const ONE_BY_ONE: usize = 16;

/// What a look over all rows of a run tells.
struct Records {
    /// What each item came to.
    items: Vec<Came>,
    /// The keys of the rows, and which items they are of.
    rows: Vec<(i64, u32)>,
}

impl Reader<'_> {
    pub(super) fn view(&self, run: RunId, filter: ItemFilter<'_>) -> Result<RunView, StoreError> {
        let (rid, head) = self.head(run)?;
        let kept = self.outline(rid)?;
        let outline = kept.outline(self.db)?;
        let layout = Layout::new(&outline);
        let mut records = self.scan(rid, layout.len())?;
        let mut wanted = vec![false; records.items.len()];
        for (ItemIx(ix), place) in layout.places() {
            let verdict = records.items[ix as usize].verdict;
            let test = outline.tests[place.test_ix.0 as usize].name;
            wanted[ix as usize] = is_wanted(filter, test, place.path, verdict);
        }
        let mut attempts: Vec<Vec<AttemptView>> = vec![Vec::new(); wanted.len()];
        self.read_wanted(rid, &mut records, &wanted, |ix, attempt| attempts[ix].push(attempt))?;
        let items = records.items;
        let mut view = view(head, &outline, items, attempts, filter);
        view.said.notes = self.notes(rid)?;
        Ok(view)
    }

    pub(super) fn listed(
        &self,
        run: RunId,
        filter: ItemFilter<'_>,
        from: ItemIx,
        limit: u32,
    ) -> Result<Vec<ListedItem>, StoreError> {
        let (rid, _) = find_rid(self.conn, self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
        let kept = self.outline(rid)?;
        let outline = kept.outline(self.db)?;
        let layout = Layout::new(&outline);
        let mut records = self.scan(rid, layout.len())?;
        let mut wanted = vec![false; records.items.len()];
        let mut places: BTreeMap<u32, (Place<'_>, Vec<AttemptView>)> = BTreeMap::new();
        for (ItemIx(ix), place) in layout.places().skip_while(|(ix, _)| *ix < from) {
            if places.len() >= limit as usize {
                break;
            }
            let test = outline.tests[place.test_ix.0 as usize].name;
            if is_wanted(filter, test, place.path, records.items[ix as usize].verdict) {
                wanted[ix as usize] = true;
                places.insert(ix, (place, Vec::new()));
            }
        }
        self.read_wanted(rid, &mut records, &wanted, |ix, attempt| {
            if let Some((_, attempts)) = places.get_mut(&(ix as u32)) {
                attempts.push(attempt);
            }
        })?;
        let mut items = records.items;
        let listed = places.into_iter().map(|(ix, (place, attempts))| {
            let test = outline.tests[place.test_ix.0 as usize].name;
            listed_item(ItemIx(ix), test, place, std::mem::take(&mut items[ix as usize]), attempts)
        });
        Ok(listed.collect())
    }

    /// What items came to, by record, of so many, without the reasons.
    fn scan(&self, rid: i64, len: u32) -> Result<Records, StoreError> {
        let get = reading(self.db);
        let mut records = Records { items: vec![Came::default(); len as usize], rows: Vec::new() };
        self.each_record(rid, "id, item, verdict", |row| {
            let (id, item): (i64, u32) = (row.get(0).map_err(&get)?, row.get(1).map_err(&get)?);
            let Some(known) = records.items.get_mut(item as usize) else {
                return Err(rows::damaged(self.db, format!("there is a record of item {item} of {len}")));
            };
            let code: Option<i64> = row.get(2).map_err(&get)?;
            known.verdict = code.map(|code| rows::verdict(self.db, code)).transpose()?;
            records.rows.push((id, item));
            Ok(())
        })?;
        Ok(records)
    }

    /// Reads the reasons and attempts of the wanted items. Few are looked up one by one: the rest of a large run is
    /// not read for them.
    fn read_wanted(
        &self,
        rid: i64,
        records: &mut Records,
        wanted: &[bool],
        mut attempt: impl FnMut(usize, AttemptView),
    ) -> Result<(), StoreError> {
        let get = reading(self.db);
        let Records { items, rows } = records;
        let mut read = |row: &Row<'_>| -> Result<(), StoreError> {
            let item = row.get::<_, u32>(0).map_err(&get)? as usize;
            if wanted[item] {
                // That of its last row is what counts.
                items[item].reason = row.get::<_, Option<String>>(1).map_err(&get)?.unwrap_or_default();
                let number: u16 = row.get(2).map_err(&get)?;
                if number > 0 {
                    attempt(item, decode_attempt(self.db, number, row, 3)?);
                }
            }
            Ok(())
        };
        let columns = "item, reason, attempt, outcome, nanos, started, body, output, artifacts";
        let few = rows.iter().filter(|(_, item)| wanted[*item as usize]);
        if few.clone().count() > rows.len() / ONE_BY_ONE {
            return self.each_record(rid, columns, read);
        }
        let sql = format!("SELECT {columns} FROM records WHERE id = ?1");
        let mut found = self.conn.prepare_cached(&sql).map_err(&get)?;
        for (id, _) in few {
            let mut list = found.query([id]).map_err(&get)?;
            while let Some(row) = list.next().map_err(&get)? {
                read(row)?;
            }
        }
        Ok(())
    }
}
