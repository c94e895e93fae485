"""The `segue` command: the local broker and cluster, and what one does with a job."""
