"""State that outlives a process: tables in files, and which of them make a snapshot."""
