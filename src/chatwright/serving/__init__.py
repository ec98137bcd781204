"""A run as a service: the HTTP interface that OpenAI's clients speak, the web page, the votes."""
