"""README and docs are true: links, code blocks, generated parts, words."""
