"""Decode pictures and video from untrusted bytes, in a child process."""
