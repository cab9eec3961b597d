"""What the site holds beside its Markdown: made from the code when it is built."""
