use super::*;
use expect_test::{Expect, expect};

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&errors_of(text));
}

#[test]
fn a_misspelt_key_is_told_with_its_place_and_the_nearest() {
    check(
        "[test.boot]\nrun = 'x'\ntimout = '90s'\n",
        expect![[r#"
        error: unknown key `timout` in `[test.boot]`
         --> muster.toml:3:1
        3 | timout = '90s'
          | ^^^^^^
        hint: did you mean `timeout`?
    "#]],
    );
    check(
        "[tset.boot]\nrun = 'x'\n",
        expect![[r#"
        error: unknown key `tset` at the top level
         --> muster.toml:1:2
        1 | [tset.boot]
          |  ^^^^
        hint: did you mean `test`?
    "#]],
    );
    check(
        "[test.boot]\nrun = 'x'\nretries = { cuont = 3 }\n",
        expect![[r#"
        error: unknown key `cuont` in `[test.boot.retries]`
         --> muster.toml:3:13
        3 | retries = { cuont = 3 }
          |             ^^^^^
        hint: did you mean `count`?
    "#]],
    );
    check(
        "[area]\nzzz = 1\n",
        expect![[r#"
            error: unknown key `zzz` in `[area]`
             --> muster.toml:2:1
            2 | zzz = 1
              | ^^^
            hint: known keys: keys, name, packages, profilers, repositories, unexpected-pass
        "#]],
    );
}

#[test]
fn several_errors_are_told_at_once() {
    check(
        "[test.boot]\nrun = 3\ntimeout = 90\nsilence = 'soon'\n[limits]\njobs = 0\nload = 'x'\ndisk-free = '3 parsecs'\n[defaults]\nretries = -1\n",
        expect![[r#"
            error: expected a string, found an integer
             --> muster.toml:2:7
            2 | run = 3
              |       ^

            error: expected a duration, found an integer
             --> muster.toml:3:11
            3 | timeout = 90
              |           ^^
            hint: a duration has a unit: "90s"

            error: this is not a duration
             --> muster.toml:4:11
            4 | silence = 'soon'
              |           ^^^^^^
            hint: durations are written "90s", "1m30s", "2h" or "500ms", larger units first

            error: expected a whole number from 1 to 4294967295
             --> muster.toml:6:8
            6 | jobs = 0
              |        ^

            error: expected a number, found a string
             --> muster.toml:7:8
            7 | load = 'x'
              |        ^^^

            error: this is not a size
             --> muster.toml:8:13
            8 | disk-free = '3 parsecs'
              |             ^^^^^^^^^^^
            hint: sizes are written "512MiB", "2GB" or as a number of bytes

            error: expected a whole number from 0 to 65535
              --> muster.toml:10:11
            10 | retries = -1
               |           ^^
        "#]],
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_place() {
    check(
        "[test.boot\nrun = 'x'\n",
        expect![[r#"
        error: not TOML: unclosed table, expected `]`
         --> muster.toml:1:11
        1 | [test.boot
          |           ^
    "#]],
    );
    check(
        "[test.boot]\nrun = x\n",
        expect![[r#"
        error: not TOML: string values must be quoted, expected literal string
         --> muster.toml:2:7
        2 | run = x
          |       ^
        hint: texts are written in quotes
    "#]],
    );
    check(
        "[test.boot]\nrun = 'x'\nrun = 'y'\n",
        expect![[r#"
        error: not TOML: duplicate key
         --> muster.toml:3:1
        3 | run = 'y'
          | ^^^
        hint: each key and each table may be there once
    "#]],
    );
}

#[test]
fn a_test_needs_one_command() {
    check(
        "[test.boot]\ntimeout = '3s'\n",
        expect![[r#"
        error: the test `boot` has no command
         --> muster.toml:1:7
        1 | [test.boot]
          |       ^^^^
        hint: `run = "a line for the shell"`, or `cmd = ["program", "argument"]`
    "#]],
    );
    check(
        "[test.boot]\nrun = 'x'\ncmd = ['y']\n",
        expect![[r#"
        error: the test `boot` has both `run` and `cmd`
         --> muster.toml:3:7
        3 | cmd = ['y']
          |       ^^^^^
    "#]],
    );
    check(
        "[test.boot]\nrun = 'x'\nsteps = ['y']\n",
        expect![[r#"
        error: a test has either steps or one command
         --> muster.toml:2:7
        2 | run = 'x'
          |       ^^^
    "#]],
    );
    check(
        "[test.boot]\nsteps = []\n",
        expect![[r#"
        error: there are no steps
         --> muster.toml:2:9
        2 | steps = []
          |         ^^
    "#]],
    );
    check(
        "[test.boot]\nsteps = [{ name = 'a', run = 'x' }, { name = 'a', run = 'y' }, { dir = 'd' }]\n",
        expect![[r#"
        error: there are two steps named `a`
         --> muster.toml:2:46
        2 | steps = [{ name = 'a', run = 'x' }, { name = 'a', run = 'y' }, { dir = 'd' }]
          |                                              ^^^

        error: the step `step-3` has no command
         --> muster.toml:2:64
        2 | steps = [{ name = 'a', run = 'x' }, { name = 'a', run = 'y' }, { dir = 'd' }]
          |                                                                ^^^^^^^^^^^^^
        hint: `run = "a line for the shell"`, or `cmd = ["program", "argument"]`
    "#]],
    );
    check(
        "[test.boot]\nrun = ' '\n[test.b]\ncmd = []\n",
        expect![[r#"
        error: there is no command in this
         --> muster.toml:2:7
        2 | run = ' '
          |       ^^^

        error: there is no program in this
         --> muster.toml:4:7
        4 | cmd = []
          |       ^^
    "#]],
    );
}

#[test]
fn names_are_checked() {
    check(
        "[test.'a b']\nrun = 'x'\n[test.'a/b']\nrun = 'x'\n[test.'']\nrun = 'x'\n[test.-x]\nrun = 'x'\n[area]\nname = 'a,b'",
        expect![[r#"
        error: `a,b` cannot be the name of an area: `/`, `#` and `,` have a meaning in addresses and selections
          --> muster.toml:10:8
        10 | name = 'a,b'
           |        ^^^^^
    "#]],
    );
    check(
        "[test.a]\nrun = 'x'\n[suite.a]\nframework = 'pytest'\n",
        expect![[r#"
        error: there are two tests named `a`
         --> muster.toml:3:8
        3 | [suite.a]
          |        ^
        hint: the first is at muster.toml:1
    "#]],
    );
    check(
        "[env]\nMUSTER_X = 1\n'a=b' = 2\n[vars]\nitem = 3\n'a b' = 4",
        expect![[r#"
        error: `MUSTER_X` is Muster's own to set
         --> muster.toml:2:1
        2 | MUSTER_X = 1
          | ^^^^^^^^
        hint: variables that begin with `MUSTER_` tell a test about its run

        error: `a=b` cannot be the name of an environment variable
         --> muster.toml:3:1
        3 | 'a=b' = 2
          | ^^^^^

        error: `item` cannot be the name of a value
         --> muster.toml:5:1
        5 | item = 3
          | ^^^^
        hint: letters, digits, `_`, `-` and `.`; not `area` or `item`

        error: `a b` cannot be the name of a value
         --> muster.toml:6:1
        6 | 'a b' = 4
          | ^^^^^
        hint: letters, digits, `_`, `-` and `.`; not `area` or `item`
    "#]],
    );
}

#[test]
fn what_comes_after_must_exist_and_not_go_in_a_circle() {
    check(
        "[test.build]\nrun = 'x'\n[test.t]\nrun = 'x'\nafter = ['biuld', 'build', 'build']\n",
        expect![[r#"
        error: no test is named `biuld`
         --> muster.toml:5:10
        5 | after = ['biuld', 'build', 'build']
          |          ^^^^^^^
        hint: did you mean `build`?

        error: `build` is there twice
         --> muster.toml:5:28
        5 | after = ['biuld', 'build', 'build']
          |                            ^^^^^^^
    "#]],
    );
    check(
        "[test.a]\nrun = 'x'\nafter = 'c'\n[test.b]\nrun = 'x'\nafter = 'a'\n[test.c]\nrun = 'x'\nafter = [{ test = 'b', mode = 'ended' }]\n",
        expect![[r#"
            error: tests come after each other in a circle: `a` after `c` after `b` after `a`
             --> muster.toml:6:9
            6 | after = 'a'
              |         ^^^
        "#]],
    );
    check(
        "[test.a]\nrun = 'x'\nafter = 'a'\n",
        expect![[r#"
        error: `a` comes after itself
         --> muster.toml:3:9
        3 | after = 'a'
          |         ^^^
        hint: only with the mode `exclusive` may a test name itself
    "#]],
    );
    check(
        "[test.a]\nrun = 'x'\n[test.b]\nrun = 'x'\nafter = { test = 'a', mode = 'passes', map = [] }\n",
        expect![[r#"
        error: `passes` is none of `passed`, `ended`, `matching-item`, `exclusive`
         --> muster.toml:5:30
        5 | after = { test = 'a', mode = 'passes', map = [] }
          |                              ^^^^^^^^
        hint: did you mean `passed`?
    "#]],
    );
    check(
        "[test.a]\nrun = 'x'\n[test.b]\nrun = 'x'\nafter = { test = 'a', map = [['(', 'x'], ['x']] }\n",
        expect![[r#"
        error: this is not a regular expression
         --> muster.toml:5:32
        5 | after = { test = 'a', map = [['(', 'x'], ['x']] }
          |                                ^
          caused by: unclosed group

        error: a rule is a regular expression and its replacement
         --> muster.toml:5:42
        5 | after = { test = 'a', map = [['(', 'x'], ['x']] }
          |                                          ^^^^^
        hint: `map = [["^(.*)/debug$", "$1"]]`
    "#]],
    );
}

#[test]
fn interpolation_knows_its_names() {
    check(
        "[vars]\nlevel = 1\n[test.t]\nrun = 'echo ${levle} ${f}'\n",
        expect![[r#"
        error: unknown name `levle`
         --> muster.toml:4:13
        4 | run = 'echo ${levle} ${f}'
          |             ^^^^^^^^
        hint: did you mean `level`?

        error: unknown name `f`
         --> muster.toml:4:22
        4 | run = 'echo ${levle} ${f}'
          |                      ^^^^
        hint: for the shell's own variable write `$f` or `$${f}`
    "#]],
    );
    check(
        "[vars]\na = '${b}'\nb = 'x${c}'\nc = \"${a}\"\n",
        expect![[r#"
        error: values name each other in a circle: `a` → `b` → `c` → `a`
         --> muster.toml:4:6
        4 | c = "${a}"
          |      ^^^^
    "#]],
    );
    check(
        "[env]\nPATH = '/x:${PATH}'\n",
        expect![[r#"
        error: `PATH` is defined by itself
         --> muster.toml:2:12
        2 | PATH = '/x:${PATH}'
          |            ^^^^^^^
        hint: `${env:PATH}` is the value Muster was started with
    "#]],
    );
    check(
        "[env]\nA = '${env:NOT_SET}'\nB = 'x ${'\nC = '${a b}'\nD = '${HOME}'\n",
        expect![[r#"
        error: `NOT_SET` is not set in the environment
         --> muster.toml:2:6
        2 | A = '${env:NOT_SET}'
          |      ^^^^^^^^^^^^^^
        hint: `${env:NOT_SET:-text}` gives a text for that case

        error: `${` without `}`
         --> muster.toml:3:8
        3 | B = 'x ${'
          |        ^^
        hint: close it with `}`, or write `$${` for a literal `${`

        error: `a b` is not a name
         --> muster.toml:4:6
        4 | C = '${a b}'
          |      ^^^^^^
        hint: write `$${` for a literal `${`

        error: unknown name `HOME`
         --> muster.toml:5:6
        5 | D = '${HOME}'
          |      ^^^^^^^
        hint: the environment Muster was started in is `${env:HOME}`
    "#]],
    );
    check(
        "[test.t]\nmatrix = { ARCH = ['a'] }\ncmd = ['x', '${ARCH}', \"\\t${item}\"]\n",
        expect![[r#"
        error: `ARCH` is known only when the item runs
         --> muster.toml:3:14
        3 | cmd = ['x', '${ARCH}', "\t${item}"]
          |              ^^^^^^^
        hint: a shell line may say `$ARCH`: `run = "… $ARCH"`

        error: `MUSTER_ITEM` is known only when the item runs
         --> muster.toml:3:27
        3 | cmd = ['x', '${ARCH}', "\t${item}"]
          |                           ^^^^^^^
        hint: a shell line may say `$MUSTER_ITEM`: `run = "… $MUSTER_ITEM"`
    "#]],
    );
}

#[test]
fn items_are_checked() {
    check(
        "[test.t]\nrun='x'\nmatrix = { A = ['x', 'x'] }\n",
        expect![[r#"
        error: the item `x` is there twice
         --> muster.toml:3:22
        3 | matrix = { A = ['x', 'x'] }
          |                      ^^^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nmatrix = { A = ['x', 'y'] }\nexclude = [{ B = 1 }, { A = 'z' }, {}]\ninclude = [{}]\n",
        expect![[r#"
        error: this excludes everything
         --> muster.toml:4:12
        4 | exclude = [{ B = 1 }, { A = 'z' }, {}]
          |            ^^^^^^^^^
        hint: the variables are `A`

        error: `B` is no variable of the matrix
         --> muster.toml:4:14
        4 | exclude = [{ B = 1 }, { A = 'z' }, {}]
          |              ^

        error: `z` is no value of `A`
         --> muster.toml:4:29
        4 | exclude = [{ B = 1 }, { A = 'z' }, {}]
          |                             ^^^

        error: this excludes everything
         --> muster.toml:4:36
        4 | exclude = [{ B = 1 }, { A = 'z' }, {}]
          |                                    ^^
        hint: the variables are `A`

        error: this combination is not complete
         --> muster.toml:5:12
        5 | include = [{}]
          |            ^^
        hint: the variables are `A`

        error: `` cannot be an item: a value is empty
         --> muster.toml:5:12
        5 | include = [{}]
          |            ^^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nexclude = [{ B = 1 }]\n",
        expect![[r#"
        error: `exclude` and `include` are for `matrix`, which is not there
         --> muster.toml:3:11
        3 | exclude = [{ B = 1 }]
          |           ^^^^^^^^^^^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\ntable = [{ A = 1, B = 2 }, { A = 3 }]\n",
        expect![[r#"
        error: this row has no `B`
         --> muster.toml:3:28
        3 | table = [{ A = 1, B = 2 }, { A = 3 }]
          |                            ^^^^^^^^^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\ntable = { A = [1, 2], B = [3] }\n",
        expect![[r#"
        error: `B` has 1 values, `A` has 2
         --> muster.toml:3:27
        3 | table = { A = [1, 2], B = [3] }
          |                           ^^^
        hint: every variable of a table has one value per item
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nitems = ['', 'a#b', '../x', 'a//b']\n",
        expect![[r#"
        error: `` cannot be an item: a value is empty
         --> muster.toml:3:10
        3 | items = ['', 'a#b', '../x', 'a//b']
          |          ^^

        error: `a#b` cannot be an item: `#` begins the attempt's number in addresses
         --> muster.toml:3:14
        3 | items = ['', 'a#b', '../x', 'a//b']
          |              ^^^^^

        error: `../x` cannot be an item: `.` and `..` are no parts
         --> muster.toml:3:21
        3 | items = ['', 'a#b', '../x', 'a//b']
          |                     ^^^^^^

        error: `a//b` cannot be an item: a part between slashes is empty
         --> muster.toml:3:29
        3 | items = ['', 'a#b', '../x', 'a//b']
          |                             ^^^^^^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nitems = ['a']\nitems-from = 'ls'\n",
        expect![[r#"
        error: items are both listed and asked for
         --> muster.toml:4:14
        4 | items-from = 'ls'
          |              ^^^^
        hint: `items-from` goes alone
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nmatrix = { 'A-B' = [1], MUSTER_X = [1] }\n",
        expect![[r#"
        error: `A-B` cannot be the name of a variable
         --> muster.toml:3:12
        3 | matrix = { 'A-B' = [1], MUSTER_X = [1] }
          |            ^^^^^
        hint: letters, digits and `_`, not beginning with a digit nor with `MUSTER_`: it is exported
    "#]],
    );
    let axis: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let axis = format!("[{}]", axis.join(","));
    check(
        &format!("[test.t]\nrun='x'\nmatrix.A = {axis}\nmatrix.B = {axis}\nmatrix.C = {axis}\n"),
        expect![[r#"
        error: the matrix has 1030301 items, more than the 1000000 allowed
         --> muster.toml:3:1
        3 | matrix.A = [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,
          | ^^^^^^
    "#]],
    );
}

#[test]
fn rules_are_checked() {
    check(
        "[test.t]\nrun='x'\nlog = [{ pattern = 'a(b', means = 'fail' }, { pattern = 'x' }, { pattern = 'x', means = 'fial' }]\n",
        expect![[r#"
        error: `fial` is none of `pass`, `ignore`, `warn`, `check`, `fail`, `skip`, `abort`
         --> muster.toml:3:89
        3 | log = [{ pattern = 'a(b', means = 'fail' }, { pattern = 'x' }, { pattern = 'x', means = 'fial' }]
          |                                                                                         ^^^^^^
        hint: did you mean `fail`?
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nlog = [{ pattern = 'a(b', means = 'fail' }, { pattern = 'x' }, { pattern = 'x', means = 'fail', min = 3, max = 2 }, { pattern = 'x', means = 'fail', count = 3, max = 2 }]\n",
        expect![[r#"
        error: this is not a regular expression
         --> muster.toml:3:22
        3 | log = [{ pattern = 'a(b', means = 'fail' }, { pattern = 'x' }, { pattern = 'x', means = 'fail', min = 3, max =
          |                      ^
          caused by: unclosed group

        error: this log rule has no `means`
         --> muster.toml:3:45
        3 | log = [{ pattern = 'a(b', means = 'fail' }, { pattern = 'x' }, { pattern = 'x', means = 'fail', min = 3, max =
          |                                             ^^^^^^^^^^^^^^^^^
        hint: `{ pattern = "a regular expression", means = "fail" }`

        error: no number is at least 3 and at most 2
         --> muster.toml:3:64
        3 |  pattern = 'a(b', means = 'fail' }, { pattern = 'x' }, { pattern = 'x', means = 'fail', min = 3, max = 2 }, {
          |                                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        error: `count` is exact, so `min` and `max` say nothing more
         --> muster.toml:3:158
        3 | 3, max = 2 }, { pattern = 'x', means = 'fail', count = 3, max = 2 }]
          |                                                        ^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nexit = { 2 = 'wran' }\nmeasure = [{ name = 'x', tolerance = 'about' }]\n",
        expect![[r#"
        error: `wran` is none of `pass`, `warn`, `skip`, `check`, `fail`, `timeout`, `crash`, `abort`, `error`
         --> muster.toml:3:14
        3 | exit = { 2 = 'wran' }
          |              ^^^^^^
        hint: did you mean `warn`?

        error: `about` is none of `<`, `<=`, `>`, `>=`
         --> muster.toml:4:38
        4 | measure = [{ name = 'x', tolerance = 'about' }]
          |                                      ^^^^^^^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nexit = { two = 'warn', 300 = 'fail' }\nmeasure = [{ expected = 1 }, { name = 'x', tolerance = 1 }, { name = 'y', expected = 1, tolerance = -1 }]\n",
        expect![[r#"
        error: `two` is no exit code
         --> muster.toml:3:10
        3 | exit = { two = 'warn', 300 = 'fail' }
          |          ^^^
        hint: exit codes are numbers from 0 to 255

        error: `300` is no exit code
         --> muster.toml:3:24
        3 | exit = { two = 'warn', 300 = 'fail' }
          |                        ^^^
        hint: exit codes are numbers from 0 to 255

        error: this measured value has no `name`
         --> muster.toml:4:12
        4 | measure = [{ expected = 1 }, { name = 'x', tolerance = 1 }, { name = 'y', expected = 1, tolerance = -1 }]
          |            ^^^^^^^^^^^^^^^^

        error: a tolerance says nothing without `expected`
         --> muster.toml:4:56
        4 | measure = [{ expected = 1 }, { name = 'x', tolerance = 1 }, { name = 'y', expected = 1, tolerance = -1 }]
          |                                                        ^

        error: a tolerance cannot be negative
         --> muster.toml:4:61
        4 | measure = [{ expected = 1 }, { name = 'x', tolerance = 1 }, { name = 'y', expected = 1, tolerance = -1 }]
          |                                                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nstdout = 'a'\nstdout-file = 'b'\n",
        expect![[r#"
        error: standard output is expected to be two things
         --> muster.toml:4:15
        4 | stdout-file = 'b'
          |               ^^^
    "#]],
    );
    check(
        "[limits.groups]\ndatabase = 1\n[test.t]\nrun='x'\nneeds = { group = ['databse'] }\n",
        expect![[r#"
        error: no group is named `databse`
         --> muster.toml:5:20
        5 | needs = { group = ['databse'] }
          |                    ^^^^^^^^^
        hint: did you mean `database`?
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nneeds = { group = 'db' }\n",
        expect![[r#"
        error: no group is named `db`
         --> muster.toml:3:19
        3 | needs = { group = 'db' }
          |                   ^^^^
        hint: `[limits.groups]` says how many of a group may run at once
    "#]],
    );
}

#[test]
fn conditions_are_checked() {
    check(
        "[test.t]\nrun='x'\nskip-when = \"oss == 'linux'\"\n",
        expect![[r#"
        error: unknown name `oss`
         --> muster.toml:3:14
        3 | skip-when = "oss == 'linux'"
          |              ^^^
        hint: did you mean `os`?
    "#]],
    );
    check(
        "[test.t]\nrun='x'\nskip-when = \"os = 'linux'\"\n",
        expect![[r#"
        error: not a CEL expression: token recognition error at: '= '
         --> muster.toml:3:17
        3 | skip-when = "os = 'linux'"
          |                 ^
        hint: equality is written `==`
    "#]],
    );
    check(
        "[test.t]\nrun='x'\n[[expect]]\ntest = 'x/y'\nis = 'fail'\nwhen = 'cores'\n[[expect]]\ntest = 't'\nis = 'faill'\n",
        expect![[r#"
        error: `faill` is none of `pass`, `fail`, `timeout`, `crash`, `skip`, `slow`
         --> muster.toml:9:6
        9 | is = 'faill'
          |      ^^^^^^^
        hint: did you mean `fail`?
    "#]],
    );
    check(
        "[test.boot]\nrun='x'\n[[expect]]\ntest = 'bot/y'\nis = 'fail'\nwhen = 'cores'\n[[expect]]\nis = 'fail'\n[[expect]]\ntest = 'boot'\n",
        expect![[r#"
        error: no test is named `bot`
         --> muster.toml:4:8
        4 | test = 'bot/y'
          |        ^^^^^^^
        hint: did you mean `boot`?

        error: the result is a value of type int, neither true nor false
         --> muster.toml:6:9
        6 | when = 'cores'
          |         ^^^^^

        error: this expectation has no `test`
         --> muster.toml:7:1
        7 | [[expect]]
          | ^^^^^^^^^^
        hint: `test = "suite/item"` and `is = "fail"`

        error: this expectation has no `is`
         --> muster.toml:9:1
        9 | [[expect]]
          | ^^^^^^^^^^
        hint: `test = "suite/item"` and `is = "fail"`
    "#]],
    );
}

#[test]
fn suites_are_checked() {
    check(
        "[suite.s]\nargs = ['x']\n",
        expect![[r#"
        error: the suite `s` has no `framework`
         --> muster.toml:1:8
        1 | [suite.s]
          |        ^
        hint: `framework` is one of cargo, pytest, gtest, ctest, tap, autotest, files, list
    "#]],
    );
    check(
        "[suite.s]\nframework = 'gtest'\nargs = ['x']\n",
        expect![[r#"
        error: the suite `s` has no `programs`
         --> muster.toml:1:8
        1 | [suite.s]
          |        ^
        hint: `programs = ["build/tests"]`

        error: `args` is not for the framework `gtest`
         --> muster.toml:3:8
        3 | args = ['x']
          |        ^^^^^
        hint: its own keys are programs
    "#]],
    );
    check(
        "[suite.s]\nframework = 'pytset'\n",
        expect![[r#"
            error: `pytset` is none of `cargo`, `pytest`, `gtest`, `ctest`, `tap`, `autotest`, `files`, `list`
             --> muster.toml:2:13
            2 | framework = 'pytset'
              |             ^^^^^^^^
            hint: did you mean `pytest`?
        "#]],
    );
    check(
        "[suite.s]\nframework = 'files'\nfiles = ['a[b', 'x']\nrun = 'x'\npattern = true\nbatch = 0\n",
        expect![[r#"
        error: expected a whole number from 1 to 4294967295
         --> muster.toml:6:9
        6 | batch = 0
          |         ^
    "#]],
    );
    check(
        "[suite.s]\nframework = 'files'\nfiles = ['a[b', 'x']\nrun = 'x'\npattern = true\n",
        expect![[r#"
        error: this is not a glob
         --> muster.toml:3:11
        3 | files = ['a[b', 'x']
          |           ^^^
          caused by: unclosed character class; missing ']'

        error: `pattern` says nothing without `expected`
         --> muster.toml:5:11
        5 | pattern = true
          |           ^^^^
    "#]],
    );
    check(
        "[suite.s]\nframework = 'pytest'\nstatus-files = ['gone.status']\n",
        expect![[r#"
        error: the status file `gone.status` cannot be read
         --> muster.toml:3:17
        3 | status-files = ['gone.status']
          |                 ^^^^^^^^^^^^^
          caused by: no such file
    "#]],
    );
}

#[test]
fn a_status_file_that_is_wrong_is_told_where() {
    let world = World::default().with_file("x.status", "[\n[ALWAYS, {\n  'a': [FIAL],\n}],\n]\n");
    let errors = world.load("[suite.s]\nframework = 'pytest'\nstatus-files = ['x.status']\n").unwrap_err();
    expect![[r#"
        error: `FIAL` is no outcome; did you mean `FAIL`?
         --> x.status:3:9
        3 |   'a': [FIAL],
          |         ^^^^
    "#]]
    .assert_eq(&told(&errors));
}

#[test]
fn a_rule_file_of_logpro_that_is_wrong_is_told_where() {
    let rules = "; rules\n(expect:error in \"LogFileBody\" = 0 \"x\" #/a\\Kb/)\n";
    let world = World::default().with_file("x.logpro", rules);
    let errors = world.load("[test.t]\nrun = 'true'\nlogpro = ['x.logpro', 'gone.logpro']\n").unwrap_err();
    expect![[r#"
        error: the regular expression `a\Kb` cannot be used: `\K` has no counterpart
         --> x.logpro:2:1
        2 | (expect:error in "LogFileBody" = 0 "x" #/a\Kb/)
          | ^

        error: the rule file `gone.logpro` cannot be read
         --> muster.toml:3:23
        3 | logpro = ['x.logpro', 'gone.logpro']
          |                       ^^^^^^^^^^^^^
          caused by: no such file
    "#]]
    .assert_eq(&told(&errors));
    let errors =
        world.load("[test.t]\nsteps = [{ run = 'true', logpro = { exit-counts = false } }]\n").unwrap_err();
    expect![[r#"
        error: nothing says what the log is judged by
         --> muster.toml:2:35
        2 | steps = [{ run = 'true', logpro = { exit-counts = false } }]
          |                                   ^^^^^^^^^^^^^^^^^^^^^^^
        hint: `{ rules = "a rule file of logpro", exit-counts = false }`
    "#]]
    .assert_eq(&told(&errors));
}

#[test]
fn targets_are_checked() {
    let check = |target: &str, text: &str, expected: Expect| {
        let world = if target.is_empty() { World::default() } else { World::target(target) };
        expected.assert_eq(&world.load(text).map_or_else(|e| told(&e), |_| "no error".into()));
    };
    let keys = "[area]\nkeys = ['os', { name = 'mode', values = ['debug', 'release'] }]\n";
    check(
        "",
        keys,
        expect![[r#"
        error: the target says no value for `os`: it has 0 values
         --> muster.toml:2:8
        2 | keys = ['os', { name = 'mode', values = ['debug', 'release'] }]
          |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: say `--target OS/MODE`
    "#]],
    );
    check(
        "linux",
        keys,
        expect![[r#"
        error: the target says no value for `mode`: it has 1 value
         --> muster.toml:2:8
        2 | keys = ['os', { name = 'mode', values = ['debug', 'release'] }]
          |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: say `--target OS/MODE`
    "#]],
    );
    check(
        "linux/fast",
        keys,
        expect![[r#"
        error: `fast` is no value of the key `mode`
         --> muster.toml:2:41
        2 | keys = ['os', { name = 'mode', values = ['debug', 'release'] }]
          |                                         ^^^^^^^^^^^^^^^^^^^^
        hint: it may be `debug`, `release`
    "#]],
    );
    check(
        "linux/debug/x",
        keys,
        expect![[r#"
        error: the target has 3 values, the area has 2 keys
         --> muster.toml:2:8
        2 | keys = ['os', { name = 'mode', values = ['debug', 'release'] }]
          |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: a target is os/mode
    "#]],
    );
    check(
        "linux",
        "[area]\nname = 'x'\n",
        expect![[r#"
        error: the target has 1 value, the area has 0 keys
         --> muster.toml:1:1
        1 | [area]
          | ^^^^^^
        hint: `keys = ["os"]` in `[area]` gives it one
    "#]],
    );
    check(
        "linux",
        "",
        expect![[r#"
        error: the target has 1 value, the area has 0 keys
         --> muster.toml:1:1
        hint: `keys = ["os"]` in `[area]` gives it one
    "#]],
    );
    check(
        "linux/debug",
        &format!("{keys}[target.linux]\nenv = {{ A = 1 }}\n"),
        expect![[r#"
            error: `linux` matches no target: it has 1 part
             --> muster.toml:3:9
            3 | [target.linux]
              |         ^^^^^
            hint: a target is os/mode; `*` stands for any text in a part
        "#]],
    );
    check(
        "linux/debug",
        "[area]\nkeys = ['os', 'os', 'a b']\n",
        expect![[r#"
            error: the key `os` is there twice
             --> muster.toml:2:15
            2 | keys = ['os', 'os', 'a b']
              |               ^^^^

            error: `a b` cannot be the name of a key
             --> muster.toml:2:21
            2 | keys = ['os', 'os', 'a b']
              |                     ^^^^^
            hint: letters, digits, `_`, `-` and `.`; not `area` or `item`
        "#]],
    );
}

#[test]
fn layers_are_told_by_their_names() {
    let project =
        Layer { name: "sub/muster.toml", text: "override = { retries = 1 }", kind: LayerKind::Project };
    let flag = Layer { name: "--set", text: "limits.jbos = 4", kind: LayerKind::Flag };
    let test = Layer { name: "--set", text: "test.x.run = 'y'", kind: LayerKind::Flag };
    let world = World::default().with_env("MUSTER_JOBS", "many").with_env("MUSTER_TEST_RETRIES", "x");
    expect![[r#"
        error: `override` is for flags
         --> sub/muster.toml:1:12
        1 | override = { retries = 1 }
          |            ^^^^^^^^^^^^^^^
        hint: `[defaults]` holds where a test says nothing itself

        error: expected a whole number, found a string
         --> environment:1:13
        1 | MUSTER_JOBS=many
          |             ^^^^

        error: expected a number or a table, found a string
         --> environment:2:21
        2 | MUSTER_TEST_RETRIES=x
          |                     ^

        error: unknown key `jbos` in `[limits]`
         --> --set:1:8
        1 | limits.jbos = 4
          |        ^^^^
        hint: did you mean `jobs`?

        error: a flag cannot say this
         --> --set:1:1
        1 | test.x.run = 'y'
          | ^^^^
        hint: a flag may set `limits`, `defaults`, `override`, `records`, `vars`, `env` and `area`
    "#]]
    .assert_eq(&told(&world.load_layers(&[project, flag, test]).unwrap_err()));
}

#[test]
fn includes_are_checked() {
    let world = World::default().with_file("a.toml", "include = ['muster.toml', 'gone.toml']\nx = 1\n");
    expect![[r#"
        error: `muster.toml` includes itself
         --> a.toml:1:12
        1 | include = ['muster.toml', 'gone.toml']
          |            ^^^^^^^^^^^^^
        hint: muster.toml → a.toml

        error: `gone.toml` cannot be read
         --> a.toml:1:27
        1 | include = ['muster.toml', 'gone.toml']
          |                           ^^^^^^^^^^^
          caused by: no such file

        error: unknown key `x` at the top level
         --> a.toml:2:1
        2 | x = 1
          | ^
        hint: known keys: area, defaults, env, expect, include, limits, override, records, suite, target, test, vars
    "#]]
    .assert_eq(&told(&world.load("include = ['a.toml']").unwrap_err()));
}

#[test]
fn a_snippet_is_fit_for_a_terminal() {
    let long = "x".repeat(500);
    check(
        &format!("[test.t]\nrun = '{long}' \nenv = {{ A = '{long}', bad = [], C = '{long}' }}\n"),
        expect![[r#"
        error: expected a text, a number or a truth value, found an array
         --> muster.toml:3:523
        3 | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', bad = [], C = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
          |                                                        ^^
    "#]],
    );
    check(
        "[test.t]\n\t\trun\t= 'ä'; \u{1b}[31m\n",
        expect![[r#"
        error: not TOML: unexpected key or value, expected newline, `#`
         --> muster.toml:2:12
        2 |   run = 'ä';  [31m
          |            ^
    "#]],
    );
}

#[test]
fn a_text_cannot_hold_nul() {
    check(
        "[env]\nA = \"x\\u0000\"\n[test.t]\nrun = \"\\u0000\"\n",
        expect![[r#"
        error: a text cannot hold the character NUL
         --> muster.toml:2:5
        2 | A = "x\u0000"
          |     ^^^^^^^^^

        error: a text cannot hold the character NUL
         --> muster.toml:4:7
        4 | run = "\u0000"
          |       ^^^^^^^^
    "#]],
    );
}

#[test]
fn a_text_that_is_something_else_is_told_in_a_few_errors() {
    let told = errors_of(&"not: toml\n".repeat(1_000));
    assert_eq!(told.matches("error: not TOML").count(), 5, "{told}");
    let deep = errors_of(&format!("a = {}", "[".repeat(100_000)));
    assert!(deep.matches("error:").count() <= 5, "{deep}");
}

#[test]
fn devices_that_are_needed_at_once_are_checked() {
    let needs = |needs: &str| format!("[test.t]\nrun='x'\nneeds = {{ {needs} }}\n");
    check(
        &needs("devices = { phone = \"labels.os = 'android'\" }"),
        expect![[r#"
        error: not a CEL expression: token recognition error at: '= '
         --> muster.toml:3:42
        3 | needs = { devices = { phone = "labels.os = 'android'" } }
          |                                          ^
        hint: equality is written `==`
    "#]],
    );
    check(
        &needs("devices = { phone = \"label.os == 'android'\" }"),
        expect![[r#"
        error: unknown name `label`
         --> muster.toml:3:32
        3 | needs = { devices = { phone = "label.os == 'android'" } }
          |                                ^^^^^
        hint: did you mean `labels`?
    "#]],
    );
    check(
        &needs("devices = { Phone = '', '9' = '', address = '' }"),
        expect![[r#"
        error: `Phone` cannot be the name of a device that a test needs
         --> muster.toml:3:23
        3 | needs = { devices = { Phone = '', '9' = '', address = '' } }
          |                       ^^^^^
        hint: these names have small letters, digits and `-`, and begin with a letter

        error: `9` cannot be the name of a device that a test needs
         --> muster.toml:3:35
        3 | needs = { devices = { Phone = '', '9' = '', address = '' } }
          |                                   ^^^
        hint: these names have small letters, digits and `-`, and begin with a letter

        error: `address` cannot be the name of a device that a test needs
         --> muster.toml:3:45
        3 | needs = { devices = { Phone = '', '9' = '', address = '' } }
          |                                             ^^^^^^^
        hint: MUSTER_DEVICE_ADDRESS means something else
    "#]],
    );
    check(
        &needs("devices = { a-name = '', a = '' }"),
        expect![[r#"
        error: `a` and `a-name` would have the same variables
         --> muster.toml:3:36
        3 | needs = { devices = { a-name = '', a = '' } }
          |                                    ^
        hint: each device is told by MUSTER_DEVICE_ and its name
    "#]],
    );
    check(
        &needs("devices = { a = { count = 30 }, b = { count = 4000000000 } }"),
        expect![[r#"
        error: a test has at most 32 devices at once
         --> muster.toml:3:21
        3 | needs = { devices = { a = { count = 30 }, b = { count = 4000000000 } } }
          |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        &needs("devices = { a = { on = '', cuont = 2 } }"),
        expect![[r#"
        error: unknown key `cuont` in `[test.t.needs.devices.a]`
         --> muster.toml:3:38
        3 | needs = { devices = { a = { on = '', cuont = 2 } } }
          |                                      ^^^^^
        hint: did you mean `count`?
    "#]],
    );
    check(
        &needs("devices = ['a', 'b']"),
        expect![[r#"
        error: expected a table, found an array
         --> muster.toml:3:21
        3 | needs = { devices = ['a', 'b'] }
          |                     ^^^^^^^^^^
    "#]],
    );
    check(
        &needs("devices = { a = '' }, same-host = true"),
        expect![[r#"
        error: `same-host` is for tests that need several devices
         --> muster.toml:3:45
        3 | needs = { devices = { a = '' }, same-host = true }
          |                                             ^^^^
        hint: `devices = { phone = "labels.os == 'android'", host = "labels.os == 'linux'" }`
    "#]],
    );
}

#[test]
fn a_place_that_no_device_has_is_told_with_those_there_are() {
    check(
        "[test.t]\nneeds = { devices = { caller = '', callee = '' } }\n\
         steps = [{ run = 'x', runs-on = 'calle' }, { name = 'to-device-callee', run = 'x' }]\n\
         [test.u]\nrun = 'x'\nruns-on = 'devise'\n\
         [suite.s]\nframework = 'pytest'\nruns-on = 'b'\nneeds = { devices = { a = '', b = '' } }\n",
        expect![[r#"
            error: `calle` is none of `host`, `device`, `caller`, `callee`
             --> muster.toml:3:33
            3 | steps = [{ run = 'x', runs-on = 'calle' }, { name = 'to-device-callee', run = 'x' }]
              |                                 ^^^^^^^
            hint: did you mean `callee`?

            error: `to-device-callee` is what Muster calls a step of its own
             --> muster.toml:3:53
            3 | steps = [{ run = 'x', runs-on = 'calle' }, { name = 'to-device-callee', run = 'x' }]
              |                                                     ^^^^^^^^^^^^^^^^^^

            error: `devise` is none of `host`, `device`
             --> muster.toml:6:11
            6 | runs-on = 'devise'
              |           ^^^^^^^^
            hint: did you mean `device`?

            error: the suite `s` cannot run on another than its first device
             --> muster.toml:9:11
            9 | runs-on = 'b'
              |           ^^^
            hint: write that one first in `needs.devices`: it is the suite's `device`
        "#]],
    );
}
