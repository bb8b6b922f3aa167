"""Public data sets: downloaded, unpacked, checked and brought into the layout that `wsss.data` reads."""
