//! The job ticket of a Megatest test: what its own steps need to know beyond what Muster's definitions say.
//! It is part of the recorded definition, so a run can be taken up again after the files have changed.

use serde::{Deserialize, Serialize};

/// The variable that tests find it in, as Megatest calls it.
pub const TICKET_VARIABLE: &str = "MT_CMDINFO";

/// How a test of Megatest's is set up and judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// The directory with the test's files, absolute.
    pub source: String,
    /// `a/b/c`
    pub target: String,
    /// The run's name, where it was given; else it is made of the run's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// Where the tree of links to run directories is; of a run of a contour, its directory in that.
    pub link_tree: String,
    /// Disks for run directories, by name. May have variables that only the item knows.
    pub disks: Vec<(String, String)>,
    /// Least free space of a disk, in blocks of 1024 bytes.
    pub min_space: u64,
    /// Prints the free space of the directory that it is given, in blocks of 1024 bytes; `None`: the system is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_space: Option<String>,
    /// Copies the test's files, with `TEST_SRC_PATH` and `TEST_TARG_PATH`; `None`: they are copied as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// Variables that are set when the test is launched; the values may have others in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<(String, String)>,
    /// Variables that make up an item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub item_vars: Vec<String>,
    /// What its items are expanded from, where that is known only when the prerequisites have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// Rules for the logs of steps, by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logpro: Vec<(String, String)>,
    /// Commands for when it comes to a state or a status: `STATE/STATUS`, `STATE/`, `/STATUS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<(String, String)>,
    /// What would speak against running it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
    /// Makes a page of the test's items when they have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollup: Option<String>,
    /// The run of another area that the test is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subrun: Option<SubRun>,
    /// Failures that are known, by name: how and in which files they are known again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<(String, String)>,
    /// Commands that compare files for waivers, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiver_rules: Vec<(String, String)>,
    /// What the comment of a waiver has to look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver_comment: Option<String>,
    /// What a run that goes on runs again by itself: `STATE/STATUS`, `STATE/`, `/STATUS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rerun_ok: Vec<String>,
    /// Variables that are left out of the files with the test's environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// What starts its steps somewhere else, by patterns for the test and its items; the first that matches counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launchers: Vec<(String, String)>,
    /// A job that is not heard of for so long is lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub launch_lease_secs: u64,
    /// The first step, which sets the test up.
    pub first_step: String,
    /// The last step, which ends the test.
    pub last_step: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// When a test is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// It runs in another run of the area.
    IfRunning,
    /// This file is there; relative to the test's directory.
    IfFile(String),
    /// It ran to its end, passed or not, less than so many seconds ago, or runs just now.
    IfRanWithin(u64),
}

/// A run of another area. All texts may have variables in them that only the item knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubRun {
    /// The area's directory; empty: the test's own area.
    pub area: String,
    /// Where its files are looked for, if that is elsewhere.
    pub start_dir: String,
    /// Its target; empty: that of the test's run.
    pub target: String,
    /// Its name; empty: that of the test's run.
    pub run_name: String,
    /// Its tests.
    pub testpatt: String,
    /// The variable that says which tests.
    pub modepatt: String,
    /// Tags of tests.
    pub tagexpr: String,
    /// The contour of its area that says tags and variable; empty: none.
    pub contour: String,
    /// The file for what it prints; empty: `subrun.log`.
    pub log: String,
    /// Why it is run, for people.
    pub message: String,
}

/// The sections that items are expanded from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// `[items]`: every combination.
    pub product: Vec<(String, Values)>,
    /// `[itemstable]`: column by column.
    pub table: Vec<(String, Values)>,
}

/// The values of an item variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// These, with blanks between.
    Text(String),
    /// What this command prints, with blanks or line ends between.
    Command(String),
}

impl Ticket {
    /// As tests are given it.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always JSON")
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is not one of this program's.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
