"""The lease table in DynamoDB, in the form of Amazon's KCL."""
