"""Images and labels: from a file to batches on a device."""
