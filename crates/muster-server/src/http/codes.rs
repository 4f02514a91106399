//! The codes of problems, each with its status and what it means: what programs may rely on.

use muster_api::Problem;
use std::collections::BTreeMap;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

/// Code, statuses it comes with, meaning.
pub(super) const CODES: &[(&str, &[u16], &str)] = &[
    ("access-unavailable", &[503], "who may ask for what cannot be looked up just now; nothing was done"),
    ("agent-exists", &[409], "the agent has joined with another key, or was revoked"),
    ("agent-replaced", &[409], "another life of this agent has spoken"),
    ("agent-unknown", &[401], "the identity of this agent has ended or was taken away"),
    ("bad-body", &[400, 415, 422], "the body is not what the path takes"),
    ("bad-device", &[422], "a device needs a name and an address, and labels that can be printed"),
    ("bad-digest", &[400], "the name of a blob is 64 hexadecimal digits"),
    ("bad-hold", &[422], "a hold needs a person and a reason"),
    ("bad-id", &[400], "the path names no run, item, attempt or device"),
    ("bad-move", &[422], "a move needs a person"),
    ("bad-name", &[422], "this cannot be the name of a user"),
    ("bad-note", &[422], "what a person says needs a person, and words that are known"),
    ("bad-package", &[422], "what was sent is no package, or not the one that its name says"),
    ("bad-place", &[400], "the path is not the place of an output"),
    ("bad-plan", &[422], "the plan contradicts itself"),
    ("bad-query", &[400], "the query has an unknown parameter, or one with a value it cannot have"),
    ("bad-request", &[422], "what is asked for cannot be"),
    ("bad-selector", &[422], "the selector of devices is none"),
    ("bad-token", &[401], "the token is not known here, or was removed"),
    ("before-itself", &[422], "a run cannot be put before itself"),
    ("bug", &[500], "the server failed at this question; it goes on with others"),
    ("chunks-lacking", &[409], "the package has chunks that are not here"),
    ("cut-off", &[408], "the body ended in the middle"),
    ("expired-token", &[401], "the token has expired"),
    ("held", &[409], "somebody else has the device"),
    ("method-not-allowed", &[405], "the path does not know this method"),
    ("missing-role", &[403], "who asks has not the role that this needs, or not here"),
    ("no-check-due", &[409], "the check is not wanted any more"),
    ("no-credentials", &[401], "nobody has said who asks"),
    ("no-join-token", &[403], "an agent joins with a token made for that"),
    ("no-room", &[503], "the disk does not take it"),
    ("no-such-agent", &[404], "no such agent has joined"),
    ("no-such-artifact", &[404], "the attempt keeps no such file"),
    ("no-such-attempt", &[404], "the item has no such attempt that has ended"),
    ("no-such-blob", &[404, 409], "the blob is not here"),
    ("no-such-device", &[404], "the lab has no such device"),
    ("no-such-item", &[404], "the run has no such item"),
    ("no-such-output", &[404], "what was printed is not kept any more"),
    ("no-such-package", &[404, 409], "the package, or the file of one, is not here"),
    ("no-such-path", &[404], "there is nothing at this path"),
    ("no-such-run", &[404], "there is no such run, or, where it is to be stopped, it is over"),
    ("no-such-user", &[404], "there is no such user, or it has no such token"),
    ("no-verifier", &[409], "nobody has said how devices of this kind are checked"),
    ("not-an-agent", &[403], "only agents ask for this"),
    ("not-from-here", &[403], "the server answers only those who ask it by a loopback address"),
    ("not-initialised", &[409], "the server is open to its host and knows no users"),
    ("not-registered", &[404], "no such device was added or proposed"),
    ("not-this-agent", &[403], "an agent speaks for itself alone"),
    ("not-understood", &[400], "the body is not the message that the path takes"),
    ("other-piece", &[409], "the output is here up to another byte; `next` says which"),
    ("package-exists", &[409], "another package is published under this name and version"),
    ("range-not-satisfiable", &[416], "the range begins behind the end"),
    ("record-unavailable", &[503], "the records cannot be used just now; nothing was done"),
    ("refused", &[], "the request cannot be served; `detail` says why"),
    ("reservation-over", &[409], "the reservation has ended, or was taken away"),
    ("run-active", &[409], "the run is under way, and this is for one that is over"),
    ("run-exists", &[409], "another run was asked for under this id"),
    ("run-locked", &[409], "a person has locked the run"),
    ("shutting-down", &[503], "the server is ending"),
    ("stale-exchange", &[409], "the exchange was heard before"),
    ("too-long", &[413], "the body is longer than is taken"),
    ("too-many", &[429], "asked too often; `retry-after` says when to come back"),
    ("too-many-proposals", &[429], "more devices announce themselves than are kept"),
    ("unwanted", &[409], "nobody looks at what was brought"),
    ("wrong-digest", &[422], "what was sent is not what its name says"),
];

/// The problems a path may answer with, for its description: `problems! { OfRuns: "bad-id", "no-such-run" }`.
macro_rules! problems {
    ($($name:ident: $($code:literal),+;)+) => {$(
        pub(super) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                crate::http::codes::responses(&[$($code),+])
            }
        }
    )+};
}
pub(super) use problems;

/// Responses with these codes, by status. A code with several statuses is given as `code@status`.
pub(super) fn responses(codes: &[&str]) -> BTreeMap<String, RefOr<Response>> {
    let mut said: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in codes {
        let (code, only) = match code.split_once('@') {
            Some((code, status)) => (code, Some(status.parse::<u16>().expect("a status is a number"))),
            None => (*code, None),
        };
        let (_, statuses, meaning) =
            CODES.iter().find(|(known, ..)| *known == code).unwrap_or_else(|| panic!("no such code: {code}"));
        for status in statuses.iter().filter(|s| only.is_none_or(|only| only == **s)) {
            said.entry(*status).or_default().push(format!("`{code}`: {meaning}"));
        }
    }
    said.into_iter().map(|(status, said)| (status.to_string(), response(&said.join("; ")).into())).collect()
}

fn response(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content(Problem::MEDIA_TYPE, content).build()
}
