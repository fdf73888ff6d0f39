"""The drill: adapters known to be bad go on canary, and each must be caught (`nightshift canary drill`)."""
