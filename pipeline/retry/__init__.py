"""Second tries for windows whose speech did not become text."""
