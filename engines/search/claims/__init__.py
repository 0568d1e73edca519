"""What each system is said to do, one file each."""
