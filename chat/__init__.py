"""The host side of a chat, standard library only: the reference that the Android and iOS cores repeat."""
