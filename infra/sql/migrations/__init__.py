"""Forward-only steps of the lake's schema, `NNN_name.sql`; a released step never changes."""
