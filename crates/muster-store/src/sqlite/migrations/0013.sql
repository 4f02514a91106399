-- Runs for a target, for what they tell of the next one for it.
CREATE INDEX runs_by_target ON runs (area, target, id);
-- Runs by what they are called: by name, or where they have none by number.
CREATE INDEX runs_by_name ON runs (name, number);
-- What is in the cold tier, without a look at the rows themselves.
CREATE INDEX runs_cold ON runs (id, cold) WHERE cold IS NOT NULL;
