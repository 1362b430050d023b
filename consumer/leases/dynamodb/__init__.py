"""The lease table in DynamoDB, in the format of Amazon's KCL."""
