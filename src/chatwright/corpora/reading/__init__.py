"""From what the user named to documents: files of many types, data sets, packages; hostile ones left out."""
