"""What ``/metrics`` reads when it is asked: of the archive, the watcher and the processes."""
