"""What a folder of data may mean where several things fit: folders, names, values of masks."""
