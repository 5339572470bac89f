"""Vendor tools and their reports."""
