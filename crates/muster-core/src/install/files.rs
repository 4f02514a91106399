//! The same for a package of many files: what of it is there already, what must be brought, and in which order
//! it gets into its place. One plan for every place: this host's disk, and a device that has a shell and `tar`.
//!
//! ```text
//! MakeRoom ─► Stage ─► Take ─► Bring ─► Swap ─► Prepare ─► Record ─► Name
//!             └───── beside the place ─────┘    └──────── in it ────────┘
//! ```
//!
//! A place that is cut off in the middle of any step is as it was before `Swap`, and behind it holds what is not
//! recorded yet: who looks again finds out by reading, and goes on from there.

use std::collections::HashMap;
use std::hash::Hash;

/// A file of a package, as the place tells files apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File<P, C> {
    /// Where it is in the package.
    pub path: P,
    /// What it is: two files with the same content are as good as one.
    pub content: C,
    /// How many bytes it takes in the place, with what the file system needs for it.
    pub bytes: u64,
}

/// What is where the package belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing, or not all of it, or something else.
    Other,
    /// All of it, and nothing says so: what was to be done when it was put there may not have been done.
    Unrecorded,
    /// All of it, with its record.
    Recorded,
}

/// What there is, as it was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have<P, C> {
    /// In the package's own place.
    pub target: Target,
    /// Whether its name leads to it.
    pub is_named: bool,
    /// What may be taken from: the files of each tree that were read and found to be this.
    pub trees: Vec<Vec<(P, C)>>,
    /// Bytes that may be written, where that is known.
    pub free_bytes: Option<u64>,
}

/// A file that need not be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which of the package's.
    pub file: usize,
    /// The tree that has it.
    pub tree: usize,
    /// Which of that tree's.
    pub from: usize,
}

/// One thing to do. They are done in order; where one fails, those behind it are not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Free so many bytes, of what nobody refers to, or give up before anything is touched.
    MakeRoom {
        /// What is lacking.
        bytes: u64,
    },
    /// Make the package's directories and links beside its place.
    Stage,
    /// Put these there, of what the place has.
    Take(Vec<Taken>),
    /// Bring these, and what could not be taken, and make sure that they are what they should be.
    Bring(Vec<usize>),
    /// Put all of it into its place, in one step. What was there is removed when this has happened.
    Swap,
    /// Do in it what the package says is to be done.
    Prepare,
    /// Write down that it is whole.
    Record,
    /// Let its name lead to it; what the name led to is the last good version from now on.
    Name,
}

/// What is to be done. Nothing where the package is in its place, recorded and named.
pub fn plan<P: Eq + Hash, C: Eq + Hash>(want: &[File<P, C>], have: &Have<P, C>) -> Vec<Step> {
    let mut steps = Vec::new();
    if have.target == Target::Other {
        let taken = taken(want, &have.trees);
        let is_taken: std::collections::HashSet<usize> = taken.iter().map(|t| t.file).collect();
        let brought: Vec<usize> = (0..want.len()).filter(|file| !is_taken.contains(file)).collect();
        let needed = brought.iter().fold(0_u64, |sum, file| sum.saturating_add(want[*file].bytes));
        let bytes = have.free_bytes.map_or(0, |free| needed.saturating_sub(free));
        if bytes > 0 {
            steps.push(Step::MakeRoom { bytes });
        }
        steps.extend([Step::Stage, Step::Take(taken), Step::Bring(brought), Step::Swap]);
    }
    match have.target {
        Target::Other | Target::Unrecorded => steps.extend([Step::Prepare, Step::Record]),
        Target::Recorded => {}
    }
    // A name never leads to what is not recorded.
    if !have.is_named || have.target == Target::Other {
        steps.push(Step::Name);
    }
    steps
}

/// Which files need not be brought. Most are where they were; others are somewhere else.
pub fn taken<P: Eq + Hash, C: Eq + Hash>(want: &[File<P, C>], trees: &[Vec<(P, C)>]) -> Vec<Taken> {
    let (mut by_path, mut by_content) = (HashMap::new(), HashMap::new());
    for (tree, files) in trees.iter().enumerate() {
        for (from, (path, content)) in files.iter().enumerate() {
            by_path.entry((path, content)).or_insert((tree, from));
            by_content.entry(content).or_insert((tree, from));
        }
    }
    let found = want.iter().enumerate().filter_map(|(file, File { path, content, .. })| {
        let (tree, from) = *by_path.get(&(path, content)).or_else(|| by_content.get(content))?;
        Some(Taken { file, tree, from })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Tree = BTreeMap<char, u8>;

    /// A place as it is: what the plan is carried out on.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Place {
        target: Option<Tree>,
        others: Vec<Tree>,
        staged: Option<Tree>,
        is_prepared: bool,
        is_recorded: bool,
        is_named: bool,
        free: Option<u64>,
    }

    impl Place {
        fn look(&self, want: &Tree) -> Have<char, u8> {
            let target = match &self.target {
                Some(there) if there == want && self.is_recorded => Target::Recorded,
                Some(there) if there == want => Target::Unrecorded,
                Some(_) | None => Target::Other,
            };
            let trees = self.target.iter().chain(&self.others).chain(&self.staged);
            let trees = trees.map(|tree| tree.iter().map(|(p, c)| (*p, *c)).collect()).collect();
            Have { target, is_named: self.is_named, trees, free_bytes: self.free }
        }

        fn carry_out(&mut self, step: &Step, want: &[File<char, u8>], have: &Have<char, u8>) {
            let staged = |place: &mut Self, file: usize| {
                let tree = place.staged.as_mut().expect("it was begun");
                assert_eq!(tree.insert(want[file].path, want[file].content), None, "once");
            };
            match step {
                Step::MakeRoom { bytes } => {
                    self.free = self.free.map(|free| free + bytes);
                }
                Step::Stage => self.staged = Some(Tree::new()),
                Step::Take(all) => {
                    for Taken { file, tree, from } in all {
                        assert_eq!(have.trees[*tree][*from].1, want[*file].content);
                        staged(self, *file);
                    }
                }
                Step::Bring(all) => {
                    for file in all {
                        let bytes = want[*file].bytes;
                        self.free = self.free.map(|free| free.checked_sub(bytes).expect("there is room"));
                        staged(self, *file);
                    }
                }
                Step::Swap => {
                    self.is_recorded = false;
                    self.is_prepared = false;
                    self.target = self.staged.take();
                }
                Step::Prepare => {
                    assert!(self.target.is_some());
                    self.is_prepared = true;
                }
                Step::Record => {
                    assert!(self.is_prepared, "what is recorded was prepared");
                    self.is_recorded = true;
                }
                Step::Name => {
                    assert!(self.is_recorded, "a name leads to what is recorded");
                    self.is_named = true;
                }
            }
        }
    }

    /// All trees of two paths and two contents.
    fn trees() -> Vec<Tree> {
        let mut all = Vec::new();
        for a in [None, Some(1), Some(2)] {
            for b in [None, Some(1), Some(2)] {
                let files = [('a', a), ('b', b)].into_iter();
                all.push(files.filter_map(|(path, content)| Some((path, content?))).collect());
            }
        }
        all
    }

    fn files(tree: &Tree) -> Vec<File<char, u8>> {
        tree.iter().map(|(path, content)| File { path: *path, content: *content, bytes: 10 }).collect()
    }

    fn everywhere(mut test: impl FnMut(&Tree, Place)) {
        for want in trees() {
            for target in trees().into_iter().map(Some).chain([None]) {
                for other in trees() {
                    for (is_recorded, is_named) in [(false, false), (true, false), (true, true)] {
                        for free in [None, Some(0), Some(10), Some(20)] {
                            let is_recorded = is_recorded && target.is_some();
                            let is_named = is_named && is_recorded;
                            let (others, target) = (vec![other.clone()], target.clone());
                            let is_prepared = is_recorded;
                            let staged = None;
                            test(
                                &want,
                                Place { target, others, staged, is_prepared, is_recorded, is_named, free },
                            );
                        }
                    }
                }
            }
        }
    }

    /// Does what is planned until there is nothing to do; is cut off behind each step, once.
    fn install(want: &Tree, mut place: Place, cut_behind: Option<usize>) -> (Place, usize) {
        let all = files(want);
        let (mut done, mut rounds) = (0, 0);
        'again: loop {
            let have = place.look(want);
            let steps = plan(&all, &have);
            if steps.is_empty() {
                return (place, done);
            }
            rounds += 1;
            assert!(rounds <= 3, "it never ends: {want:?} {place:?}");
            let before = place.target.clone();
            for step in &steps {
                place.carry_out(step, &all, &have);
                let is_in_place = place.target.as_ref() == Some(want);
                assert!(place.target == before || is_in_place, "it is as it was, or what is wanted");
                done += 1;
                if Some(done - 1) == cut_behind {
                    continue 'again;
                }
            }
        }
    }

    #[test]
    fn what_is_planned_makes_what_is_wanted_from_everything_there_can_be_wherever_it_is_cut_off() {
        everywhere(|want, place| {
            let (end, steps) = install(want, place.clone(), None);
            assert_eq!(end.target.as_ref(), Some(want));
            assert!(end.is_recorded && end.is_named && end.is_prepared);
            assert_eq!(end.others, place.others, "what is taken from stays");
            for cut in 0..steps {
                // Room that was made is made again where somebody else has taken it.
                let free = place.free.map(|free| free + 20);
                let (end, _) = install(want, Place { free, ..place.clone() }, Some(cut));
                assert_eq!(end.target.as_ref(), Some(want), "cut behind {cut}");
                assert!(end.is_recorded && end.is_named, "cut behind {cut}");
            }
        });
    }

    #[test]
    fn nothing_is_done_where_it_is_there_recorded_and_named() {
        everywhere(|want, place| {
            let is_there = place.target.as_ref() == Some(want) && place.is_recorded && place.is_named;
            assert_eq!(plan(&files(want), &place.look(want)).is_empty(), is_there, "{place:?}");
        });
    }

    #[test]
    fn only_what_no_tree_has_is_brought_and_room_is_made_for_that_alone() {
        everywhere(|want, place| {
            let have = place.look(want);
            let steps = plan(&files(want), &have);
            let Some(brought) = steps.iter().find_map(|s| match s {
                Step::Bring(all) => Some(all),
                _ => None,
            }) else {
                return assert_ne!(have.target, Target::Other);
            };
            let is_there = |content: &u8| have.trees.iter().flatten().any(|(_, there)| there == content);
            let lacking = want.values().filter(|content| !is_there(content)).count();
            assert_eq!(brought.len(), lacking);
            let room = place.free.map_or(0, |free| (lacking as u64 * 10).saturating_sub(free));
            let first = (room > 0).then_some(Step::MakeRoom { bytes: room });
            assert_eq!(steps.iter().find(|s| matches!(s, Step::MakeRoom { .. })), first.as_ref());
        });
    }

    #[test]
    fn a_file_is_taken_from_where_it_was_before_it_is_taken_from_elsewhere() {
        let want = [File { path: 'b', content: 1, bytes: 1 }];
        let trees = vec![vec![('a', 1)], vec![('b', 2), ('b', 1)]];
        assert_eq!(taken(&want, &trees), [Taken { file: 0, tree: 1, from: 1 }]);
        assert_eq!(taken(&want, &trees[..1]), [Taken { file: 0, tree: 0, from: 0 }]);
    }
}
