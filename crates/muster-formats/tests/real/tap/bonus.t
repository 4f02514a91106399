use Test::More tests => 2; ok(1, 'one'); TODO: { local $TODO = 'done already'; ok(1, 'early'); }
