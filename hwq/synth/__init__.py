"""Running the vendor's tools on a generated project, and holding the estimates to what they report."""
