"""Images and labels as people have them: one small file for each kind, behind one protocol.

`trainable.data.sources.source` has the protocol; `trainable.data.dataset.open_survey` is what the rest
of the project calls. A new kind is a module with ``recognises`` and ``open_images`` and a line in
`trainable.data.dataset.sources`.
"""
