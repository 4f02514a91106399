//! What items did and how long they took in earlier runs.

use super::error::reading;
use super::read::{Reader, find_rid};
use super::rows;
use crate::durations::{self, Samples};
use crate::error::StoreError;
use crate::layout::Layout;
use crate::types::{Durations, HistoryEntry};
use muster_core::id::{ItemIx, RunId};
use muster_core::outcome::Verdict;
use rusqlite::params;
use std::collections::BTreeMap;

/// Runs whose ids are read at once while looking for ones with the test.
const PAGE: u32 = 64;

impl Reader<'_> {
    pub(super) fn history(
        &self,
        area: &str,
        test: &str,
        item: Option<&str>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let (mut entries, mut runs) = (Vec::new(), 0);
        let mut before = before.map_or([0xff; 17].to_vec(), |b| rows::run_id_bytes(b).to_vec());
        while runs < limit {
            let page = self.run_ids(
                "WHERE area = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
                params![area, before, PAGE],
            )?;
            let Some(last) = page.last() else { break };
            before = rows::run_id_bytes(*last).to_vec();
            for run in page {
                let of_run = self.at(run, |r| r.history_of(run, test, item))?;
                runs += u32::from(!of_run.is_empty());
                entries.extend(of_run);
                if runs >= limit {
                    break;
                }
            }
        }
        Ok(entries)
    }

    fn history_of(
        &self,
        run: RunId,
        test: &str,
        item: Option<&str>,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let get = reading(self.db);
        let (rid, head) = match self.head(run) {
            // Another process may delete a run between two looks.
            Err(StoreError::UnknownRun { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let kept = self.outline(rid)?;
        let outline = kept.outline(self.db)?;
        let Some(test_ix) = outline.tests.iter().position(|t| t.name == test) else {
            return Ok(Vec::new());
        };
        let layout = Layout::new(&outline);
        // A place asked for a hundred thousand times costs less from a list.
        let wanted: Vec<Option<&str>> = (0..layout.len())
            .map(|ix| {
                let place = layout.place(ItemIx(ix))?;
                let is_wanted = place.test_ix.0 as usize == test_ix
                    && !place.discovery
                    && item.is_none_or(|path| path == place.path);
                is_wanted.then_some(place.path)
            })
            .collect();
        if wanted.iter().all(Option::is_none) {
            return Ok(Vec::new());
        }
        let mut entries = BTreeMap::new();
        let mut verdicts: BTreeMap<ItemIx, Option<Verdict>> = BTreeMap::new();
        self.each_record(rid, "item, attempt, verdict, outcome, nanos, started", |row| {
            let ix: u32 = row.get(0).map_err(&get)?;
            let Some(&Some(path)) = wanted.get(ix as usize) else { return Ok(()) };
            let ix = ItemIx(ix);
            let code: Option<i64> = row.get(2).map_err(&get)?;
            verdicts.insert(ix, code.map(|c| rows::verdict(self.db, c)).transpose()?);
            let attempt: u16 = row.get(1).map_err(&get)?;
            if attempt > 0 {
                let entry = HistoryEntry {
                    run,
                    number: head.number,
                    target: head.target.clone(),
                    path: path.into(),
                    attempt,
                    outcome: rows::outcome(self.db, row.get(3).map_err(&get)?)?,
                    verdict: None,
                    started: rows::time(row.get(5).map_err(&get)?),
                    duration: rows::duration(row.get(4).map_err(&get)?),
                };
                entries.insert((ix, attempt), entry);
            }
            Ok(())
        })?;
        let with_verdict = entries.into_iter().map(|((ix, _), mut entry)| {
            entry.verdict = verdicts.get(&ix).copied().flatten();
            entry
        });
        Ok(with_verdict.collect())
    }

    pub(super) fn durations(&self, area: &str, target: &[(String, String)]) -> Result<Durations, StoreError> {
        let mut encoded = Vec::new();
        rows::encode(&mut encoded, "a target", target)?;
        let limit = durations::CANDIDATES_MAX;
        let mut heads = self.heads(
            "WHERE area = ?1 AND target = ?2 ORDER BY id DESC LIMIT ?3",
            params![area, encoded, limit],
        )?;
        if heads.is_empty() {
            heads = self.heads("WHERE area = ?1 ORDER BY id DESC LIMIT ?2", params![area, limit])?;
        }
        let ended: Vec<u32> = heads.iter().map(|h| h.counts.total()).collect();
        let mut samples = Samples::default();
        for i in durations::choose(&ended) {
            match self.at(heads[i].id, |r| r.sample(heads[i].id, &mut samples)) {
                Ok(()) | Err(StoreError::UnknownRun { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(samples.into_durations())
    }

    fn sample(&self, run: RunId, samples: &mut Samples) -> Result<(), StoreError> {
        let get = reading(self.db);
        let (rid, _) = find_rid(self.conn, self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
        let kept = self.outline(rid)?;
        let outline = kept.outline(self.db)?;
        let layout = Layout::new(&outline);
        let mut good: Vec<(u32, u64)> = Vec::new();
        self.each_record(rid, "item, outcome, nanos", |row| {
            let code: Option<i64> = row.get(1).map_err(&get)?;
            if let Some(code) = code
                && rows::outcome(self.db, code)?.is_good()
            {
                let nanos: i64 = row.get(2).map_err(&get)?;
                good.push((row.get(0).map_err(&get)?, nanos.unsigned_abs()));
            }
            Ok(())
        })?;
        // By test; of an item, the newest attempt first.
        good.reverse();
        good.sort_by_key(|(ix, _)| *ix);
        let mut good = good.into_iter().peekable();
        while let Some((ix, nanos)) = good.next() {
            let Some(place) = layout.place(ItemIx(ix)).filter(|p| !p.discovery) else { continue };
            let mut of_test = samples.test(outline.tests[place.test_ix.0 as usize].name);
            of_test.add(place.path, nanos);
            while let Some((place, nanos)) = good.peek().and_then(|(ix, nanos)| {
                let next = layout.place(ItemIx(*ix))?;
                (next.test_ix == place.test_ix && !next.discovery).then_some((next, *nanos))
            }) {
                of_test.add(place.path, nanos);
                good.next();
            }
        }
        Ok(())
    }
}
