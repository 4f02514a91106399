use Test::More; ok(1, 'named ünï'); done_testing;
