-- What was asked, beside the answers to it: the report of a night shows both, and `night bisect` finds by words.

ALTER TABLE evaluations ADD COLUMN question VARCHAR DEFAULT '';
