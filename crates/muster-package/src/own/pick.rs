//! Single files of a package, without the others: only what they are made of is fetched.

use super::error::PackageError;
use super::manifest::{Entry, Manifest};
use super::names::Published;
use super::source::Sources;
use super::write::Writer;
use std::path::Path;

impl Sources {
    /// Writes those entries of a package that are wanted below a directory, which is made. Every byte is verified.
    /// Says how many entries they were.
    ///
    /// # Errors
    /// [`PackageError`]: not all of them can be had, or the directory is there already. What was written stays.
    pub fn pick(
        &self,
        package: &Published,
        wants: impl Fn(&Entry) -> bool,
        to: &Path,
    ) -> Result<usize, PackageError> {
        let (whole, _) = self.manifest(package, None)?;
        // The package says where its chunks are by their place among all of them.
        let chunks = whole.chunks();
        let Manifest { about, chunking, entries } = whole;
        let picked = Manifest { about, chunking, entries: entries.into_iter().filter(wants).collect() };
        let all: Vec<usize> = (0..picked.entries.len()).collect();
        let writer = Writer::begin(to.to_owned(), &picked)?;
        writer.prepare(&all)?;
        let targets = writer.targets(&all, &chunks);
        let wanted: Vec<bool> = (0..).zip(&chunks).map(|(number, _)| targets.contains_key(&number)).collect();
        if !targets.is_empty() {
            self.fetch(package, &chunks, &wanted, &|number, bytes| writer.put(&targets[&number], bytes))?;
        }
        writer.finish(&all)?;
        Ok(all.len())
    }
}
