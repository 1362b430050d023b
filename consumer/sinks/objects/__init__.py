"""Write one object per batch to S3, Google Cloud Storage, Azure Blob Storage or a directory.

`s3`, `gs`, `az` and `file` are the modules for the schemes of a URL. `sink` names the objects, `formats` and `parquet`
encode them, `store` is the port to a place that never overwrites an object, and `remote` its adapter for obstore.
"""
