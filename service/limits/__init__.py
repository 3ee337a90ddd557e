"""How much may be under way at a time, and what else is bounded: every limit of the service, in the order of a request.

The server, in its event loop:

    connections          _MAX_CONNECTIONS: for more, the least useful are closed
    a head               HEAD_SECONDS from the first byte (fault 10)
    a body               GAZE_REQUEST_TIMEOUT from the head on (11), GAZE_MAX_REQUEST_BYTES (3, 4); all that are half
                         read together have at most _MAX_HELD times as much
    requests of a key    GAZE_RATE_LIMIT, of each key or address, in each worker (44, 48)
    rankings             SLOTS, by Admission: of all workers together, refused at once where none is free (28, 49)
    bodies in chunks     STREAMED_SLOTS, by PerClientAdmission: STREAMED_SLOTS_EACH of one address (11)
    other requests       OTHER_SLOTS, by Admission; probes and metrics have two threads of their own (31)
    answers              SEND_SECONDS, and _MAX_UNSENT bytes that clients have not read yet (64)

The views:

    reconciliation       _BY_GET batches that come by GET and so had no slot yet, by Admission
    explanations         _AT_A_TIME, by Admission, one of which computes while the others wait for a lock
    a request's time     RequestDeadline, checked before each stage and while it waits for the next (29)
    what is parsed       MAX_JSON_VALUES, MAX_JSON_DEPTH, MAX_PARTS, MAX_FIELD_BYTES (1, 8, 62)
    what is answered     MAX_PREDICTIONS, MAX_JSON_BYTES, MAX_DOCUMENT_BYTES (64)

Images:

    fetching             FETCH_SLOTS, by Admission.fetching(), which releases the ranking's slot meanwhile (30);
                         FETCH_SECONDS and MAX_REDIRECTS each (22, 24), GAZE_MAX_IMAGE_BYTES once decoded (23)
    IIIF documents       IIIF_DOCUMENTS, IIIF_BYTES, IIIF_VALUES, IIIF_TILES a request, by IiifBudget; IIIF_DEPTH
    decoding             a FairSemaphore of one slot a core, with DECODE_SECONDS each (17, 18, 61); of these, all but
                         one may go to decoding processes, for which _MAX_WAITING wait once they stall
    memory of decoding   a FairSemaphore of bytes, which a decoding process is held to by the kernel (13)
    pixels               GAZE_MAX_IMAGE_PIXELS, MAX_ASPECT_RATIO, MAX_CLAIMED_PIXELS (13, 16)

The model:

    encoder passes       Backend.max_concurrent_batches, by DynamicBatcher; what waits shares the next (28, 33)
    phrases              PHRASE_CACHE_BYTES of them are kept, behind a lock of the dictionary alone (42)
    lists                GAZE_MAX_PHRASES and MAX_OWN_LISTS of one request (6)

The numbers are those of the faults that tests/faults/table.py lists. SLOTS and the like are constants, since what suits
a machine follows from its cores (threads.py); what an operator may want otherwise is a setting.
"""
