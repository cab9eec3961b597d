"""Work spread over processes, and arrays larger than memory."""
