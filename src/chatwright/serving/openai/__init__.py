"""The routes under /v1, as the clients of OpenAI know them."""
