use Test::More tests => 6;
ok(1, 'plain');
is(1 + 1, 3, 'sums');
TODO: { local $TODO = 'not yet'; ok(0, 'later'); }
SKIP: { skip 'no net', 1; }
subtest 'inner' => sub { plan tests => 2; ok(1, 'a'); ok(1, 'b # not a comment'); };
TODO: { local $TODO = 'done already'; ok(1, 'early'); }
