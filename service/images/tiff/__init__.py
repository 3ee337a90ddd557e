"""TIFF: the container is read here, within bounds; imagecodecs undoes the compressions.

Measured on a corpus of every kind that tifffile writes (tests/tiff_corpus.py): Pillow decodes some kinds wrongly and
says nothing; tifffile decodes nearly all, but fills up what is missing with zeros, reads tags of a dozen vendors at
whatever cost, and decodes a segment of an image codec at whatever size that says. A directory of tags is simple; what
is hard is in the codecs, and imagecodecs' take the size that may come out.

    directory  header, directories, tags
    page       what one directory says of its picture, or why that kind is not read
    codecs     bytes of a strip or a tile -> its rows
    segments   strips, tiles and planes -> bands of samples, one after the other
    samples    samples of any depth and kind -> 8 bits, as a person sees them
    picture    which of the file's pictures is meant, and its pixels

Importing it loads every codec that is used, so that a process without files can decode.
"""
