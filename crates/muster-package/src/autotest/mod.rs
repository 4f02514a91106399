//! Autotest's packages and repositories, as its packager and its clients read and write them.
