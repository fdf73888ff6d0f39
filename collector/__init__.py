"""The collector: turns what happened into a clean record."""
