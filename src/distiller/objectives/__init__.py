"""What makes the student like the teacher: prediction and intermediate objectives, layer mapping, critics."""
