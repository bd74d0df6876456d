"""A page with a list that one can add to."""

import streamlit as st

st.title("Students")
names = st.session_state.setdefault("names", [])
name = st.text_input("Name")
if st.button("Add") and name:
    names.append(name)
st.table(names)
