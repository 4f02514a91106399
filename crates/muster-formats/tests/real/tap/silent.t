print 'no TAP here';
