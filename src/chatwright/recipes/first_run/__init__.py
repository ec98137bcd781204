"""The quickstart: the whole journey in minutes, its sizes, its alignment and its report."""
