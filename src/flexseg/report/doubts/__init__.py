"""What a report doubts: annotations, and the quality of predictions."""
