"""The web page: plain modules and styles, in Chinese and English, that the server sends as they are."""
