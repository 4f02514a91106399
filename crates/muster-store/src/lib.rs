//! Durable records: one trait in transaction-sized verbs, several backends, one contract suite.
