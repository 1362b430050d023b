"""What commit 9524bcd left behind is continued, and both releases run in one fleet."""
