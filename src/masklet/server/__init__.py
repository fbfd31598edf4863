"""The web demo: a page on which a click on an object is followed through a video. `app.make_app` is the whole of it."""
