"""What clients write and read: pure functions over bytes, with no reactor."""
