"""Files of object storage: `s3://`, `gs://` and `az://` for paths of folders and files.

Each URL has a local path, at which commands find copies of its files, see `urls`. They are fetched
when a command first looks there, see `mirror`.
"""
